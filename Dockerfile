# The binary alone: `make image` builds it, into a directory of its own that is the context. Nothing is pulled.
FROM scratch
COPY otelier /otelier
USER 65532:65532
ENTRYPOINT ["/otelier"]
CMD ["run"]

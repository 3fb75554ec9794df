#!/bin/sh
# Writes an archive of the programs with which kube-proxy sets up the kernel, and of the libraries that these load, to stdout.
set -eu
programs=$(ls /usr/sbin/iptables* /usr/sbin/ip6tables* /usr/sbin/nft /usr/sbin/conntrack | grep -v -e legacy -e translate -e apply)
modules=$(ls /usr/lib/*/xtables/*.so)
libraries=$(ldd $programs $modules | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p; s/^\t\(\/lib64[^ ]*\) .*/\1/p' | sort -u)
tar --create --dereference --file=- --directory=/ --absolute-names $programs $modules $libraries

package main

// The certificates of public authorities, for where there are none to be found, as in the container image: Go takes the system's first.
import _ "golang.org/x/crypto/x509roots/fallback"

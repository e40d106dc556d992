#!/bin/sh
# Waits until the server is well, and makes the namespace where it is missing; the address is in TEMPORAL_ADDRESS.
set -eu

tries=0
until temporal operator cluster health; do
  tries=$((tries + 1))
  [ "$tries" -lt 12 ] || exit 1
  sleep 5
done
temporal operator namespace describe --namespace "$NAMESPACE" >/dev/null 2>&1 ||
  temporal operator namespace create --namespace "$NAMESPACE" --retention "$RETENTION"

#!/bin/sh
set -e
mkdir -p run && date > run/started
[ "$1" = serve ] || exec "$@"
exec uvicorn main:app --host 0.0.0.0 --port 80

# Written by `deploytool init`; yours to edit.
FROM python:$python-slim AS base
WORKDIR /code


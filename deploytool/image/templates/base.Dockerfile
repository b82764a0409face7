# Written by `deploytool init`; yours to edit.
FROM python:$python-slim AS base
${run_packages}WORKDIR /code


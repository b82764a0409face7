FROM $code_base AS code
$copy_code
RUN python -m compileall -q --invalidation-mode unchecked-hash /code && chmod -R u=rwX,go=rX /code


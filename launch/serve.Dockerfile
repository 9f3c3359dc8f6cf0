# An image that serves a trained model: its arguments are main.py's flags after --mode=serve. Build it
# from the folder of main.py:
#
#   docker build -f launch/serve.Dockerfile --build-arg ACCELERATOR=cpu -t bigjax-serve .
#   docker run -p 127.0.0.1:8000:8000 -v "$PWD/runs/ner:/run/model:ro" bigjax-serve
#
# ACCELERATOR: cpu, cuda12, cuda13 or tpu. It runs as user 1000 and needs nothing writable but the
# volume /cache, where compiled programs are kept. Where the run folder is mounted read-only, start the
# service once beforehand where it can be written to: it keeps there what dev looks like. Authentication
# and TLS belong to a proxy in front.

FROM python:3.12-slim

ARG ACCELERATOR=cpu

ENV JAX_COMPILATION_CACHE_DIR=/cache/compiled \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1

RUN useradd --uid 1000 --create-home bigjax && mkdir /cache && chown bigjax: /cache

WORKDIR /bigjax

# The packages before the code: a change of the code leaves them alone.
COPY pyproject.toml README.md ./
RUN case "$ACCELERATOR" in \
      cpu) extras=serve ;; \
      cuda12 | cuda13 | tpu) extras="serve,$ACCELERATOR" ;; \
      *) echo "error: ACCELERATOR=$ACCELERATOR: expected cpu, cuda12, cuda13 or tpu" >&2; exit 2 ;; \
    esac && \
    pip install --upgrade pip && \
    pip install ".[$extras]"

COPY bigjax bigjax
COPY main.py ./
RUN pip install --no-deps .

USER bigjax
VOLUME ["/cache"]
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --start-period=300s --interval=10s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=5)"]
ENTRYPOINT ["python", "main.py", "--mode=serve", "--host=0.0.0.0", "--port=8000"]
CMD ["--workdir=/run/model"]

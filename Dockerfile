# The app on a CPU, with the sample corpus already indexed. docs/hosting.md says how to build and run it.
FROM python:3.11-slim

# poppler renders PDF pages (packages.txt, as a Space installs it).
COPY packages.txt /tmp/packages.txt
RUN apt-get update \
    && xargs -a /tmp/packages.txt apt-get install -y --no-install-recommends \
    && rm -rf /var/lib/apt/lists/* /tmp/packages.txt

# Hashes are compared on the way. With torch's CPU build it is 1.9 GB, with the one for GPUs it would be 6.9.
COPY requirements.lock /tmp/requirements.lock
RUN pip install --no-cache-dir uv==0.13.9 \
    && uv pip install --system --no-cache --torch-backend cpu -r /tmp/requirements.lock \
    && pip uninstall -y uv \
    && rm /tmp/requirements.lock

# Nothing runs as root. 1000 is also the user of a Docker Space. The code stays root's: the app cannot change it.
RUN useradd --create-home --uid 1000 app \
    && install -d -o app -g app /data
WORKDIR /home/app/demo
COPY LICENSE README.md app.py ./
COPY assets assets
COPY sample_corpus sample_corpus
COPY metaembed_demo metaembed_demo

USER app
ENV HOME=/home/app \
    PYTHONUNBUFFERED=1 \
    GRADIO_ANALYTICS_ENABLED=False \
    METAEMBED_HOST=0.0.0.0 \
    METAEMBED_PORT=7860 \
    METAEMBED_CACHE=/data/metaembed \
    NUMBA_CACHE_DIR=/data/numba
# Reads the sample corpus once, here, so that a container serves within seconds.
RUN python -m metaembed_demo samples

EXPOSE 7860
# The first start with an empty volume at /data reads the sample corpus again, which takes minutes.
HEALTHCHECK --interval=30s --timeout=10s --start-period=10m --retries=3 \
    CMD ["python", "-c", "import json, os, urllib.request as u; a = u.urlopen('http://127.0.0.1:' + os.environ['METAEMBED_PORT'] + '/health', timeout=8); assert json.load(a)['status'] == 'ok'"]
CMD ["python", "app.py"]

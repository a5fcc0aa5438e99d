# Two images. For machines with an NVIDIA GPU (PyPI's torch brings CUDA: about 6 GB):
#     docker build --target gpu -t dpcenet:gpu .
# Without a GPU (about 2 GB); INDEX is the address that pytorch.org, "Get Started", gives for "CPU":
#     docker build --target cpu --build-arg TORCH_INDEX=INDEX -t dpcenet:cpu .
# How to run them: docs/install.md.

FROM python:3.12-slim AS wheel
WORKDIR /source
COPY . .
RUN pip install --no-cache-dir build==1.6.1 && python -m build --wheel --outdir /dist

FROM python:3.12-slim AS base
# Whoever runs the image may have no home folder; what is compiled goes to /tmp.
ENV NUMBA_CACHE_DIR=/tmp/numba MPLCONFIGDIR=/tmp/matplotlib PYTHONDONTWRITEBYTECODE=1
RUN useradd --create-home --uid 1000 dpcenet
COPY --from=wheel /dist /dist
COPY constraints.txt /dist/

FROM base AS gpu
RUN pip install --no-cache-dir --constraint /dist/constraints.txt "$(echo /dist/*.whl)[app,dicom]"
USER 1000
WORKDIR /work
ENTRYPOINT ["dpcenet"]
CMD ["--help"]

FROM base AS cpu
ARG TORCH_INDEX
RUN test -n "$TORCH_INDEX" \
 && pip install --no-cache-dir --constraint /dist/constraints.txt --index-url "$TORCH_INDEX" torch \
 && pip install --no-cache-dir "$(echo /dist/*.whl)[app,dicom]"
USER 1000
WORKDIR /work
ENTRYPOINT ["dpcenet"]
CMD ["--help"]

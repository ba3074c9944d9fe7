# In place of the official image, where no registry can be asked for it (docs/images.md):
# Debian's Postgres, started from the same variables, secret and volume.
ARG BASE_IMAGE=debian:bookworm-slim
FROM ${BASE_IMAGE}
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends postgresql \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 999 server && useradd --no-log-init --uid 999 --gid 999 server \
    && install --directory --owner=999 --group=999 /var/lib/postgresql \
    && ln -s /usr/lib/postgresql/* /usr/lib/postgresql/current
ENV PATH=/usr/lib/postgresql/current/bin:/usr/bin:/bin PGDATA=/var/lib/postgresql/data PGHOST=/tmp
COPY postgres.sh /postgres.sh
VOLUME /var/lib/postgresql
USER 999:999
STOPSIGNAL SIGINT
ENTRYPOINT ["sh", "-eu", "/postgres.sh"]

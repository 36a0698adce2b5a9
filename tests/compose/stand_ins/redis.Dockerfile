# Stands for the official image `redis`: Debian's own server, its data in /data.
ARG BASE
FROM ${BASE}
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/*
RUN mkdir /data && chown redis:redis /data
WORKDIR /data
USER redis

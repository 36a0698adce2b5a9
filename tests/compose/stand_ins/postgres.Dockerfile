# Stands for the official image `postgres`: Debian's own server under that image's conventions, as far as docker-compose.yaml
# uses them (POSTGRES_PASSWORD, POSTGRES_USER, /docker-entrypoint-initdb.d, PGDATA).
ARG BASE
FROM ${BASE}
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql-15 && rm -rf /var/lib/apt/lists/*
ENV PATH=/usr/lib/postgresql/15/bin:$PATH PGDATA=/var/lib/postgresql/data
RUN mkdir -p /docker-entrypoint-initdb.d "$PGDATA" && chown -R postgres:postgres "$PGDATA" /var/run/postgresql
COPY postgres.sh /usr/local/bin/docker-entrypoint.sh
USER postgres
ENTRYPOINT ["sh", "/usr/local/bin/docker-entrypoint.sh"]
CMD ["postgres"]

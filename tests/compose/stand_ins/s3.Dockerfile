# Stands for an object store: moto's server on port 9000, whatever command it is given. What it holds is lost when it ends.
ARG BASE
FROM ${BASE}
ARG MOTO
RUN python3 -m venv /opt/moto \
    && /opt/moto/bin/python -m pip install --quiet --no-compile --disable-pip-version-check "moto[s3]==${MOTO}" flask flask-cors
RUN useradd --system moto
USER moto
ENTRYPOINT ["sh", "-c", "exec /opt/moto/bin/moto_server -H 0.0.0.0 -p 9000"]

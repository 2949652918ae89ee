# AgentBus as an image: `docker build -t agentbus:dev .`, then `docker run --rm agentbus:dev demo`.

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# What it runs on, each package checked against its hash: a layer of its own, because it seldom changes. The lock is
# complete, so nothing is resolved: a release that came after it changes nothing.
COPY requirements/ requirements/
RUN python -m venv --without-pip /opt/agentbus \
    && pip --python /opt/agentbus install --require-hashes --no-deps -r requirements/runtime.txt

# The build backend, in the version and with the hashes that development uses.
RUN awk '/^[a-z]/ { wanted = /^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/ } wanted' \
        requirements/dev.txt > build.txt \
    && pip install --require-hashes --no-deps -r build.txt

COPY pyproject.toml README.md LICENSE ./
COPY contracts/ contracts/
COPY storage/ storage/
COPY workers/ workers/
COPY agentbus/ agentbus/
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
    && pip --python /opt/agentbus install --no-deps /dist/*.whl \
    && pip --python /opt/agentbus check \
    && /opt/agentbus/bin/agentbus --version

FROM python:3.13-slim
LABEL org.opencontainers.image.title="AgentBus" \
      org.opencontainers.image.description="The session backbone behind chat systems, on RabbitMQ and MongoDB" \
      org.opencontainers.image.licenses="Apache-2.0"
# By number, so that an orchestrator can tell that it is not root. Its home holds files named by a relative store URL.
RUN groupadd --gid 10001 agentbus \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/agentbus --create-home --shell /usr/sbin/nologin agentbus \
    && install -d -o agentbus -g agentbus /var/lib/agentbus/backups
COPY --from=build /opt/agentbus /opt/agentbus
ENV PATH=/opt/agentbus/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /var/lib/agentbus
USER 10001:10001
# A worker finishes what it has begun, then exits: give it a grace period, and an init process (`docker run --init`).
STOPSIGNAL SIGTERM
ENTRYPOINT ["agentbus"]
CMD ["--help"]

# One image: operator, webhook, console, migration Job and bridge are its subcommands.
# Built by `python -m tests.cluster images`; the classic builder is enough (nothing here needs BuildKit).

FROM debian:bookworm-slim AS build
ARG PIP_INDEX_URL
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 python3-venv >/dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
WORKDIR /src
# Two environments, so that what builds (pip, setuptools) is not in the one that is shipped.
COPY requirements/build.txt requirements/operator.txt requirements/
RUN python3 -m venv /build \
 && /build/bin/pip install --quiet --no-cache-dir --require-hashes --only-binary :all: -r requirements/build.txt \
 && python3 -m venv --without-pip /opt/sessionstore \
 && /build/bin/pip --python /opt/sessionstore/bin/python install --quiet --no-cache-dir --require-hashes \
      --only-binary :all: -r requirements/operator.txt
COPY pyproject.toml LICENSE ./
COPY operator operator
# The readme is only the package's long description: an empty one here, so that an edit of it rebuilds no image.
RUN touch README.md \
 && /build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheel . \
 && /build/bin/pip --python /opt/sessionstore/bin/python install --quiet --no-cache-dir --no-deps /wheel/*.whl

FROM debian:bookworm-slim
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 >/dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin \
 && useradd --uid 65532 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin sessionstore
COPY --from=build /opt/sessionstore /opt/sessionstore
ENV PATH=/opt/sessionstore/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# Numeric, so that `runAsNonRoot` can be checked without looking into the image.
USER 65532:65532
ENTRYPOINT ["sessionstore"]

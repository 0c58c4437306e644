# The Redis of the tests, from Debian's package: what the operator's default image is stood in for, with the same
# numeric user (999) and working directory as the official image, so that one manifest fits both.
FROM debian:bookworm-slim
RUN groupadd --gid 999 redis \
 && useradd --uid 999 --gid 999 --no-create-home --home-dir /data --shell /usr/sbin/nologin redis \
 && apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server redis-tools >/dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin \
 && redis-server --version | grep -F 'v=7.0.15' \
 && install -d -o 999 -g 999 /data
USER 999:999
WORKDIR /data
CMD ["redis-server"]

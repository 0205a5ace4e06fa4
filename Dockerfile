# A static hookledger in an image of its own: no shell, no package manager, no root.
#
#   docker build --build-arg VERSION=v0.1.0 -t hookledger .

FROM golang:1.26.8-bookworm AS build
ARG VERSION=devel
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" \
    -o /out/hookledger ./cmd/hookledger
# The data directory as the user finds it; a fresh named volume takes its owner and mode from it. The second one is for
# the volume that a ledger is copied from.
RUN mkdir -p -m 0700 /out/lib/hookledger /out/lib/hookledger-embedded

FROM scratch
ARG VERSION=devel
LABEL org.opencontainers.image.title="hookledger" \
      org.opencontainers.image.description="Sends webhooks and keeps the evidence" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
# Receivers have certificates of public CAs.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chown=65532:65532 /out/lib/ /var/lib/
COPY --from=build /out/hookledger /hookledger
ENV HOOKLEDGER_DATA_DIR=/var/lib/hookledger \
    HOOKLEDGER_LISTEN=0.0.0.0:8420
USER 65532:65532
VOLUME ["/var/lib/hookledger"]
EXPOSE 8420
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=2m --retries=3 CMD ["/hookledger", "status"]
ENTRYPOINT ["/hookledger"]
CMD ["serve"]

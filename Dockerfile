# One static image with fustor, and fustor-read, which it runs for reading commands: docker build --build-arg VERSION=1.0.0 -t fustor .
# For several platforms: docker buildx build --platform linux/amd64,linux/arm64 .
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS=linux
ARG TARGETARCH
ARG VERSION=0.1.0-dev
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -ldflags "-s -w -X main.version=$VERSION -X github.com/fustor/fustor/cmd/fustor/internal/first.Version=$VERSION" -o /out/fustor ./cmd/fustor \
    && CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -tags reading -ldflags "-s -w -X main.version=$VERSION" -o /out/fustor-read ./cmd/fustor
# What a new volume is mounted on gives it its owner: these are of the user below.
RUN mkdir -p /out/image/data /out/image/state

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chown=65532:65532 /out/image/ /
COPY --from=build /out/fustor /out/fustor-read /usr/local/bin/
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/fustor"]
CMD ["--help"]

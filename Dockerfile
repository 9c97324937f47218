ARG BASE=node:24-bookworm-slim

# Install scripts do not run and optional packages stay out: dockerode's ssh client does without native code, and the `node`
# package that gives developers their Node has its job done by the base image.
FROM ${BASE} AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm install --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund

FROM dependencies AS build
RUN npm install --ignore-scripts --no-audit --no-fund
COPY tsconfig.json nest-cli.json ./
COPY src src
RUN npm run build

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="image-preheat" \
      org.opencontainers.image.description="Warms every node's container runtime: peers first, the registry once" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The agent needs no package manager, and neither does whoever gets into it.
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack \
      /usr/local/bin/yarn /usr/local/bin/yarnpkg /opt/yarn-*
ENV NODE_ENV=production
WORKDIR /app
COPY LICENSE package.json ./
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/dist dist
# uid 0, since the runtime's socket is root's; it needs no capability and writes to STORE_DIR and /tmp alone.
USER 0:0
# The young generation would grow to 128 MiB of garbage on a large node; collecting it in small steps costs nothing to speak of.
ENTRYPOINT ["node", "--max-semi-space-size=4", "dist/main.js"]

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';

import { AppModule } from '../../src/app.module.js';
import { readHostFacts } from '../../src/config/host-facts.js';
import { loadConfig } from '../../src/config/load-config.js';
import { configureApp } from '../../src/configure-app.js';

/** What the router of a whole agent has, in its order. */
export interface RouterContent {
  /** `GET /images`; `ALL` stands for every method there is. */
  readonly routes: readonly string[];
  /** Names of what every request passes through, and which may answer it. */
  readonly middleware: readonly string[];
}

/** Express keeps it there; its types do not say so. */
interface Layer {
  readonly name: string;
  readonly route?: { readonly path: string; readonly methods: Readonly<Record<string, boolean>> };
}

/** Puts an agent together as it starts, and asks its router; it never listens. */
export async function contentOfRouter(): Promise<RouterContent> {
  const directory = await mkdtemp(join(tmpdir(), 'router-'));
  const loopback = { HOST: '127.0.0.1', POD_IP: '127.0.0.1', RUNTIME: 'directory' };
  const environment = { ...loopback, NODE_NAME: 'router', STORE_DIR: directory, MOUNT_DIR: directory };
  const config = loadConfig(environment, readHostFacts());
  const app = await NestFactory.create<NestExpressApplication>(AppModule.register(config), {
    logger: false,
    abortOnError: false,
    bodyParser: false,
  });
  try {
    configureApp(app);
    await app.init();
    const express = app.getHttpAdapter().getInstance() as unknown as { router: { stack: readonly Layer[] } };
    const { stack } = express.router;
    return {
      routes: stack.flatMap(({ route }) => (route ? namesOf(route) : [])),
      middleware: stack.flatMap(({ name, route }) => (route ? [] : [name])),
    };
  } finally {
    await app.close();
    await rm(directory, { recursive: true, force: true });
  }
}

function namesOf({ path, methods }: NonNullable<Layer['route']>): string[] {
  const names = Object.keys(methods);
  return names.length > 10 ? [`ALL ${path}`] : names.map((method) => `${method.toUpperCase()} ${path}`);
}

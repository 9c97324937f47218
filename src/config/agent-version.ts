import { readFileSync } from 'node:fs';

import { z } from 'zod';

const manifest = z.object({ version: z.string() });

/** The version in the `package.json` that the agent came with; `unknown` where it was left behind. */
export function agentVersion(packageJson: URL): string {
  try {
    return manifest.parse(JSON.parse(readFileSync(packageJson, 'utf8'))).version;
  } catch {
    return 'unknown';
  }
}

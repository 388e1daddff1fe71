//! Runs once: says what is under test, and fails early when it is not there.
import { existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { ourBinary, ourPm2, realPm2, underTest } from './under-test.ts';

export default function prepare() {
  const needed = underTest === 'theirs' ? realPm2 : ourBinary;
  if (!existsSync(needed.path)) {
    throw new Error(`${needed.path} is not there; build it, or run \`make test\` which does`);
  }
  mkdirSync(path.dirname(ourPm2.path), { recursive: true });
  for (const name of ['pm2', 'pm2-runtime', 'pm2-dev']) {
    const link = path.join(path.dirname(ourPm2.path), name);
    rmSync(link, { force: true });
    symlinkSync(ourBinary.path, link);
  }
}

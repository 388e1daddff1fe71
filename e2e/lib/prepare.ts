//! Runs once: says what is under test, and fails early when it is not there.
import { existsSync, mkdirSync } from 'node:fs';
import { binary, out, underTest } from './under-test.ts';

export default function prepare() {
  mkdirSync(out, { recursive: true });
  if (!existsSync(binary.path)) {
    throw new Error(`${underTest}: ${binary.path} is not there; build it, or run \`make test\` which does`);
  }
}

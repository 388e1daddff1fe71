// Which program the tests speak of. The suite is run twice: UNDER_TEST=theirs against the real pm2, so that a
// wrong test is found, and UNDER_TEST=ours.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'vitest';

export const underTest = process.env.UNDER_TEST === 'theirs' ? 'theirs' : 'ours';

const here = path.dirname(fileURLToPath(import.meta.url));
export const root = path.resolve(here, '../..');
export const apps = path.resolve(here, '../apps');
/** Where screenshots and other things to look at are kept after a run. */
export const out = path.resolve(here, '../out');

/** The real pm2, from npm. */
export const realPm2 = { path: path.resolve(here, '../node_modules/pm2/bin/pm2'), node: true };
/** Our binary. */
export const ourBinary = {
  path: process.env.PILOTHOUSE_BIN ?? path.join(root, 'target/debug/pilothouse'),
  node: false,
};
/** Our binary, called as `pm2`: by a link that `prepare.ts` makes. */
export const ourPm2 = { path: path.join(out, 'bin/pm2'), node: false };
/** What is under test. */
export const binary = underTest === 'theirs' ? realPm2 : ourPm2;

/** What is under test, under another of its names, such as `pm2-runtime`. */
export const calledAs = (name: string) => ({ ...binary, path: path.join(path.dirname(binary.path), name) });

/**
 * A behaviour of the original that ours lacks, with the reason. It runs as a normal test against the original;
 * against ours it must fail: the day it passes, the run fails until the gap is taken out of the list.
 */
export function gap(reason: string, name: string, body: () => Promise<void>) {
  if (underTest === 'theirs') test(name, body);
  else test.fails(`${name} [gap: ${reason}]`, body);
}

/** Only where the original cannot take part. */
export const onlyOurs = test.runIf(underTest === 'ours');

// Checks the budgets of the built dashboard: everything, and what the first paint waits for. Sizes are gzip.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const KB = 1024;
const TOTAL_TARGET = 120 * KB;
const TOTAL_LIMIT = 150 * KB;
const FIRST_LIMIT = 60 * KB;

const dist = fileURLToPath(new URL('../dist/', import.meta.url));
const weight = (path) => gzipSync(readFileSync(path), { level: 9 }).length;
const text = (n) => `${(n / KB).toFixed(1)} KB`;

let html;
try {
  html = readFileSync(join(dist, 'index.html'), 'utf8');
} catch {
  console.error('nothing is built yet: run npm run build first');
  process.exit(1);
}

const assets = readdirSync(join(dist, 'assets'))
  .filter((name) => !/\.(br|gz)$/.test(name))
  .map((name) => ({ name, size: weight(join(dist, 'assets', name)) }));
const first = assets.filter((a) => html.includes(a.name));
const sum = (list) => list.reduce((n, a) => n + a.size, weight(join(dist, 'index.html')));
const total = sum(assets);
const paint = sum(first);

for (const a of assets.sort((x, y) => y.size - x.size)) {
  console.log(`${text(a.size).padStart(9)}  ${a.name}${first.includes(a) ? '  (first paint)' : ''}`);
}
console.log(`first paint ${text(paint)} of ${text(FIRST_LIMIT)}, total ${text(total)} of ${text(TOTAL_LIMIT)}`);
if (total > TOTAL_TARGET) console.log(`over the target of ${text(TOTAL_TARGET)}`);
if (total > TOTAL_LIMIT || paint > FIRST_LIMIT) {
  console.error('over budget');
  process.exit(1);
}

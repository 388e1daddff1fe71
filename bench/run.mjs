// Side by side with the real pm2, in turn, in one run: `make bench` or `node run.mjs [row …]`.
// Each figure is a median over rounds that alternate between the two, so that a machine that slows down or
// speeds up does so for both; the ratio is what counts. Results go to out/ as JSON too.
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import path from 'node:path';
import { rows } from './rows.mjs';
import { ours, theirs } from './sides.mjs';

const wanted = process.argv.slice(2);
const chosen = rows.filter((row) => wanted.length === 0 || wanted.some((word) => row.id.includes(word)));
if (chosen.length === 0) {
  console.error(`no row is called ${wanted.join(', ')}; there are: ${rows.map((row) => row.id).join(', ')}`);
  process.exit(2);
}

const results = [];
for (const row of chosen) {
  const peer = row.peer ?? theirs;
  if (peer.there === false) {
    process.stderr.write(`${row.what}: left out, the peer is not installed\n`);
    continue;
  }
  process.stderr.write(`${row.what} …\n`);
  try {
    results.push(summary(row, await measured(row, peer)));
  } catch (error) {
    // What the others took minutes for is not lost with it.
    process.stderr.write(`${row.what}: ${error?.stack ?? error}\n`);
    process.exitCode = 1;
  }
}

print(results);
const out = path.join(import.meta.dirname, 'out');
mkdirSync(out, { recursive: true });
const machine = { cpus: cpus().length, model: cpus()[0]?.model, memory: totalmem(), kernel: release(), node: process.version };
writeFileSync(path.join(out, 'results.json'), `${JSON.stringify({ at: new Date().toISOString(), machine, results }, null, 2)}\n`);

/** The samples of both sides, in turn. */
async function measured(row, peer) {
  const figures = { theirs: [], ours: [] };
  for (let round = 0; round < (row.rounds ?? 3); round += 1) {
    const sides = row.alone ? [ours] : round % 2 === 0 ? [peer, ours] : [ours, peer];
    for (const side of sides) figures[side.name].push(...(await row.measure(side)));
  }
  return figures;
}

function summary(row, figures) {
  const theirsMedian = row.alone ? null : median(figures.theirs);
  const oursMedian = median(figures.ours);
  // What is within the noise of nothing has no ratio.
  const better = row.alone || theirsMedian <= 0 || oursMedian <= 0 ? null : row.more ? oursMedian / theirsMedian : theirsMedian / oursMedian;
  return { id: row.id, what: row.what, unit: row.unit, theirs: theirsMedian, ours: oursMedian, better, target: row.target, samples: figures };
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 ? sorted[Math.floor(middle)] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function print(all) {
  const text = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));
  const head = ['', 'pm2 7', 'ours', 'times better', 'target'];
  const lines = all.map((r) => [r.what, r.theirs === null ? '' : `${text(r.theirs)} ${r.unit}`, `${text(r.ours)} ${r.unit}`, r.better === null ? '' : `${text(r.better)} ×`, r.target]);
  const widths = head.map((_, i) => Math.max(...[head, ...lines].map((line) => line[i].length)));
  for (const line of [head, ...lines]) {
    console.log(line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('   '));
  }
}

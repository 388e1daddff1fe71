/**
 * Sparklines: every small line of the visible rows on one canvas.
 *
 * A place for one is an empty element with `data-spark` (which history) and `data-key` (which series). The canvas lies over
 * the rows and scrolls with them, so a scroll moves lines and rows together and draws nothing anew.
 */
import { cpuHistory, latencyHistory, loopHistory, memoryHistory, SPARK_SECONDS } from '../store/live';
import { colour } from '../theme';

const HISTORY = { cpu: cpuHistory, memory: memoryHistory, latency: latencyHistory, loop: loopHistory } as const;
type Kind = keyof typeof HISTORY;

/** The least range that a line is drawn in, so that noise near zero does not look like mountains. */
const FLOOR: Readonly<Record<Kind, number>> = { cpu: 8, memory: 0, latency: 10, loop: 2 };

const TOKEN: Readonly<Record<string, string>> = {
  notice: '--notice',
  warn: '--warn',
  bad: '--bad',
  calm: '--c1',
  idle: '--text-3',
};

const samples = new Float64Array(SPARK_SECONDS);
let colours: Map<string, string> | null = null;

export function forgetColours(): void {
  colours = null;
}

function tone(name: string): string {
  colours ??= new Map();
  let c = colours.get(name);
  if (c === undefined) {
    c = colour(TOKEN[name] ?? '--c1');
    colours.set(name, c);
  }
  return c;
}

export function range(values: Float64Array, kind: Kind): readonly [low: number, high: number] | null {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const v of values) {
    if (v < low) low = v;
    if (v > high) high = v;
  }
  if (high < low) return null;
  // Memory never is near zero; its movement is what one looks for. Everything else stands on zero.
  if (kind === 'memory') {
    const room = Math.max(high - low, high * 0.06) * 0.6;
    return [Math.max(0, low - room), high + room];
  }
  return [0, Math.max(high * 1.12, FLOOR[kind])];
}

export function drawSparks(canvas: HTMLCanvasElement, root: HTMLElement): void {
  const box = root.getBoundingClientRect();
  const ratio = Math.min(2, devicePixelRatio || 1);
  const width = Math.round(box.width * ratio);
  const height = Math.round(box.height * ratio);
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
    canvas.style.width = `${box.width}px`;
    canvas.style.height = `${box.height}px`;
  }
  const g = canvas.getContext('2d');
  if (!g) return;
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, box.width, box.height);
  g.lineJoin = 'round';
  for (const place of root.querySelectorAll<HTMLElement>('[data-spark]')) {
    const kind = place.dataset.spark as Kind;
    if (!HISTORY[kind]?.read(place.dataset.key ?? '', samples)) continue;
    const limits = range(samples, kind);
    if (!limits) continue;
    const r = place.getBoundingClientRect();
    if (r.width === 0) continue;
    const x = r.left - box.left;
    const y = r.top - box.top;
    line(g, x, y, r.width, r.height, limits, tone(place.dataset.level ?? 'calm'));
  }
}

function line(
  g: CanvasRenderingContext2D,
  x: number,
  y: number,
  w: number,
  h: number,
  [low, high]: readonly [number, number],
  ink: string,
): void {
  const step = w / (SPARK_SECONDS - 1);
  const scale = (h - 2) / (high - low || 1);
  const base = y + h;
  const at = (v: number) => base - 1 - (v - low) * scale;
  g.strokeStyle = ink;
  g.fillStyle = ink;
  g.lineWidth = 1.25;
  let start = -1;
  for (let i = 0; i <= SPARK_SECONDS; i++) {
    const gap = i === SPARK_SECONDS || Number.isNaN(samples[i]);
    if (!gap && start < 0) start = i;
    if (!gap || start < 0) continue;
    const end = i - 1;
    g.beginPath();
    g.moveTo(x + start * step, at(samples[start] ?? 0));
    for (let j = start + 1; j <= end; j++) g.lineTo(x + j * step, at(samples[j] ?? 0));
    // A lone sample still shows.
    if (end === start) g.lineTo(x + start * step + 1, at(samples[start] ?? 0));
    g.globalAlpha = 0.9;
    g.stroke();
    g.lineTo(x + end * step, base);
    g.lineTo(x + start * step, base);
    g.closePath();
    g.globalAlpha = 0.1;
    g.fill();
    start = -1;
  }
  g.globalAlpha = 1;
}

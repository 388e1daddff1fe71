/** The vertical axis: where it ends and what stands at its marks. Pure. */
import { bytes, metric, millis, percent } from '../format/units';

const KiB = 1024;
/** Distances between marks of bytes: round in powers of two. */
export const BYTE_STEPS = [0, 1, 2, 3, 4].flatMap((power) =>
  [1, 2, 4, 8, 16, 32, 64, 128, 256, 512].map((n) => n * KiB ** power),
);

export function isBytes(unit: string): boolean {
  return /^(b|bytes?)$/i.test(unit);
}

/** How values of a unit are said. */
export function formatter(unit: string): (v: number | null | undefined) => string {
  if (unit === '%') return percent;
  if (isBytes(unit)) return bytes;
  if (unit === 'ms') return millis;
  return (v) => metric(v, unit);
}

/**
 * Marks of the vertical axis. Bytes get as many decimals as it takes to tell neighbours apart: a process whose memory hardly
 * changes has an axis of a fraction of a MiB.
 */
export function verticalLabels(splits: readonly number[], unit: string): string[] {
  const say = formatter(unit);
  const plain = splits.map(say);
  if (!isBytes(unit) || new Set(plain).size === plain.length) return plain;
  for (let digits = 1; digits < 3; digits++) {
    const finer = splits.map((v) => bytes(v, digits));
    if (new Set(finer).size === finer.length) return finer;
  }
  return splits.map((v) => bytes(v, 3));
}

/** Where the vertical axis ends: on zero, unless everything lies far above it. */
export function verticalRange(low: number, high: number, unit: string): [number, number] {
  if (!Number.isFinite(low) || !Number.isFinite(high)) return [0, 1];
  if (low < 0) return [low - (high - low) * 0.08, high + (high - low) * 0.08 || 1];
  if (unit === '%') return [0, Math.max(high * 1.15, 5)];
  if (low > high * 0.6 && isBytes(unit)) {
    const room = Math.max(high - low, high * 0.05);
    return [Math.max(0, low - room), high + room];
  }
  return [0, high > 0 ? high * 1.15 : 1];
}

/** Numbers as people read them, in one form everywhere. Missing values are `N/A`. */

export const MISSING = 'N/A';

const grouped = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

/** `5,436` */
export function count(n: number | null | undefined): string {
  return n === null || n === undefined || !Number.isFinite(n) ? MISSING : grouped.format(n);
}

/** Up to `digits` decimals, none when they are zero; thousands with comma. */
export function decimal(n: number, digits: number): string {
  const [whole = '0', part] = Math.abs(n).toFixed(digits).split('.');
  const fraction = part?.replace(/0+$/, '');
  const text = grouped.format(Number(whole)) + (fraction ? `.${fraction}` : '');
  return n < 0 && text !== '0' ? `-${text}` : text;
}

/** `37%`, `0.4%` under ten. */
export function percent(n: number | null | undefined): string {
  if (n === null || n === undefined || !Number.isFinite(n)) return MISSING;
  return `${decimal(n, Math.abs(n) < 10 ? 1 : 0)}%`;
}

const STEPS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** `827MiB`, `1GiB`, `1.2GiB`: one decimal from GiB on, none below; or at least `decimals`. */
export function bytes(n: number | null | undefined, decimals = 0): string {
  if (n === null || n === undefined || !Number.isFinite(n)) return MISSING;
  let value = Math.abs(n);
  let step = 0;
  // 1023.5 would be printed as 1024 of the smaller unit.
  while (step < STEPS.length - 1 && value >= (step >= 3 ? 1023.95 : 1023.5)) {
    value /= 1024;
    step++;
  }
  const digits = Math.max(decimals, step >= 3 && value < 100 ? 1 : 0);
  return `${n < 0 ? '-' : ''}${decimal(value, digits)}${STEPS[step]}`;
}

/** Milliseconds: `0.26ms`, `12.3ms`, `530ms`, `12.4s`. */
export function millis(n: number | null | undefined): string {
  if (n === null || n === undefined || !Number.isFinite(n)) return MISSING;
  const size = Math.abs(n);
  if (size >= 9_999.5) return `${decimal(n / 1000, 1)}s`;
  return `${decimal(n, size < 10 ? 2 : size < 100 ? 1 : 0)}ms`;
}

const BYTE_UNITS: Readonly<Record<string, number>> = {
  b: 1,
  bytes: 1,
  byte: 1,
  kb: 1024,
  kib: 1024,
  mb: 1024 ** 2,
  mib: 1024 ** 2,
  gb: 1024 ** 3,
  gib: 1024 ** 3,
};

/**
 * A metric of an app as it reports itself: a number (often as text) and a free unit.
 * Bytes and milliseconds get the house form; another unit is put behind the number as it stands.
 */
export function metric(value: number | string | null | undefined, unit: string): string {
  if (value === null || value === undefined || value === '') return MISSING;
  const n = typeof value === 'number' ? value : Number(value);
  if (!Number.isFinite(n)) return typeof value === 'string' ? value.slice(0, 64) : MISSING;
  const key = unit.trim().toLowerCase();
  const factor = BYTE_UNITS[key];
  if (factor !== undefined) return bytes(n * factor);
  if (key === 'ms') return millis(n);
  if (key === '%') return percent(n);
  const size = Math.abs(n);
  const text = decimal(n, Number.isInteger(n) ? 0 : size < 1 ? 3 : size < 100 ? 2 : 0);
  return unit === '' ? text : /^[a-z%/]/i.test(unit) && unit.length <= 12 ? `${text}${unit}` : `${text} ${unit}`;
}

/** The number of a metric value, `null` when it is not one. */
export function numeric(value: number | string | undefined): number | null {
  if (value === undefined || value === '') return null;
  const n = typeof value === 'number' ? value : Number.parseFloat(value);
  return Number.isFinite(n) ? n : null;
}

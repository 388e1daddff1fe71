/** Times and spans as people read them. The present moment is always handed in. */

/** Largest two units: `4d 3h`, `3h 12m`, `12m 5s`, `8s`. */
export function span(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  const d = Math.floor(s / 86_400);
  const h = Math.floor((s % 86_400) / 3600);
  const m = Math.floor((s % 3600) / 60);
  if (d >= 100) return `${d}d`;
  if (d > 0) return h > 0 ? `${d}d ${h}h` : `${d}d`;
  if (h > 0) return m > 0 ? `${h}h ${m}m` : `${h}h`;
  if (m > 0) return s % 60 > 0 ? `${m}m ${s % 60}s` : `${m}m`;
  return `${s}s`;
}

const plural = (n: number, unit: string): string => `${n} ${unit}${n === 1 ? '' : 's'}`;

/** One unit in words: `4 days`, `3 hours`, `1 minute`, `8 seconds`. */
export function spanWords(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s >= 86_400) return plural(Math.floor(s / 86_400), 'day');
  if (s >= 3600) return plural(Math.floor(s / 3600), 'hour');
  if (s >= 60) return plural(Math.floor(s / 60), 'minute');
  return plural(s, 'second');
}

export function ago(at: number, now: number): string {
  if (at <= 0) return 'never';
  return now - at < 2000 ? 'just now' : `${spanWords(now - at)} ago`;
}

const two = (n: number): string => String(n).padStart(2, '0');

/** `14:03:07.250`, in the zone of the browser. */
export function clockMillis(at: number): string {
  const d = new Date(at);
  return `${clock(at)}.${String(d.getMilliseconds()).padStart(3, '0')}`;
}

/** `14:03:07` */
export function clock(at: number): string {
  const d = new Date(at);
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

/** `2026-11-22 14:03:07` */
export function stamp(at: number): string {
  if (at <= 0) return 'never';
  const d = new Date(at);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${clock(at)}`;
}

/** The value of a `datetime-local` field, which has no zone. */
export function localInput(at: number): string {
  const d = new Date(at);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}T${two(d.getHours())}:${two(d.getMinutes())}`;
}

/**
 * SGR colours of a log line as spans with class names. Everything else that terminals obey (cursor moves, titles, links) is
 * dropped, and so are control characters: a log line must not be able to draw outside itself. Pure.
 */

export interface Span {
  readonly text: string;
  /** Class names, '' for plain text. */
  readonly cls: string;
}

interface Pen {
  fg: number;
  bg: number;
  bold: boolean;
  dim: boolean;
  italic: boolean;
  underline: boolean;
  inverse: boolean;
}

const fresh = (): Pen => ({ fg: -1, bg: -1, bold: false, dim: false, italic: false, underline: false, inverse: false });

function classes(pen: Pen): string {
  const out: string[] = [];
  if (pen.fg >= 0) out.push(`f${pen.fg}`);
  if (pen.bg >= 0) out.push(`k${pen.bg}`);
  if (pen.bold) out.push('b');
  if (pen.dim) out.push('d');
  if (pen.italic) out.push('i');
  if (pen.underline) out.push('u');
  if (pen.inverse) out.push('v');
  return out.join(' ');
}

/** The nearest of the sixteen named colours: the page has its own, checked for contrast, and no others. */
export function nearest(r: number, g: number, b: number): number {
  const high = Math.max(r, g, b);
  const low = Math.min(r, g, b);
  if (high - low < 32) return high < 64 ? 0 : high < 150 ? 8 : high < 220 ? 7 : 15;
  const limit = (high + low) / 2;
  const base = (r > limit ? 1 : 0) | (g > limit ? 2 : 0) | (b > limit ? 4 : 0);
  return high > 200 ? base + 8 : base;
}

function from256(n: number): number {
  if (n < 16) return n;
  if (n >= 232) {
    const grey = 8 + (n - 232) * 10;
    return nearest(grey, grey, grey);
  }
  const i = n - 16;
  const step = (x: number) => (x === 0 ? 0 : 55 + x * 40);
  return nearest(step(Math.floor(i / 36)), step(Math.floor(i / 6) % 6), step(i % 6));
}

const byte = (n: number | undefined): number => (n !== undefined && n >= 0 && n <= 255 ? n : 0);

function apply(pen: Pen, codes: readonly number[]): void {
  for (let i = 0; i < codes.length; i++) {
    const c = codes[i] ?? 0;
    if (c === 0) Object.assign(pen, fresh());
    else if (c === 1) pen.bold = true;
    else if (c === 2) pen.dim = true;
    else if (c === 3) pen.italic = true;
    else if (c === 4) pen.underline = true;
    else if (c === 7) pen.inverse = true;
    else if (c === 22) pen.bold = pen.dim = false;
    else if (c === 23) pen.italic = false;
    else if (c === 24) pen.underline = false;
    else if (c === 27) pen.inverse = false;
    else if (c >= 30 && c <= 37) pen.fg = c - 30;
    else if (c === 39) pen.fg = -1;
    else if (c >= 40 && c <= 47) pen.bg = c - 40;
    else if (c === 49) pen.bg = -1;
    else if (c >= 90 && c <= 97) pen.fg = c - 82;
    else if (c >= 100 && c <= 107) pen.bg = c - 92;
    else if (c === 38 || c === 48) {
      const wide = codes[i + 1] === 2;
      const colour = wide
        ? nearest(byte(codes[i + 2]), byte(codes[i + 3]), byte(codes[i + 4]))
        : codes[i + 1] === 5
          ? from256(byte(codes[i + 2]))
          : -1;
      if (c === 38) pen.fg = colour;
      else pen.bg = colour;
      i += wide ? 4 : 2;
    }
  }
}

// CSI, OSC (ended by BEL or ST), and two-character escapes.
const ESCAPE =
  /\u001b(?:\[([0-9;:?<=>!]*)([ -/]*)([@-~])|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\^_]|[ -/]+[0-~]|[`-~])?/g;
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

function clean(text: string): string {
  return text.replace(CONTROL, '').replaceAll('\t', '    ');
}

export function parseAnsi(line: string): Span[] {
  if (!line.includes('\u001b')) {
    const text = clean(line);
    return text === '' ? [] : [{ text, cls: '' }];
  }
  const out: Span[] = [];
  const pen = fresh();
  let at = 0;
  const add = (raw: string) => {
    const text = clean(raw);
    if (text === '') return;
    const cls = classes(pen);
    const last = out[out.length - 1];
    if (last && last.cls === cls) out[out.length - 1] = { text: last.text + text, cls };
    else out.push({ text, cls });
  };
  for (const m of line.matchAll(ESCAPE)) {
    add(line.slice(at, m.index));
    at = m.index + m[0].length;
    if (m[3] === 'm' && m[1] !== undefined && !/[?<=>!]/.test(m[1])) {
      apply(pen, m[1] === '' ? [0] : m[1].split(/[;:]/).map((n) => (n === '' ? 0 : Number(n))));
    }
  }
  add(line.slice(at));
  return out;
}

/** The text of a line without any escapes, for filters and copying. */
export function stripAnsi(line: string): string {
  return clean(line.replace(ESCAPE, ''));
}

/** Which rows of a long list with rows of known heights are to be in the page. Pure. */

export interface Span {
  /** First row to render. */
  readonly first: number;
  /** One past the last row to render. */
  readonly end: number;
  /** Where the first row begins, px from the top of the list. */
  readonly offset: number;
}

/** Tops of the rows, and the whole height as last element. */
export function tops(heights: ArrayLike<number>): Float64Array {
  const out = new Float64Array(heights.length + 1);
  let y = 0;
  for (let i = 0; i < heights.length; i++) {
    out[i] = y;
    y += heights[i] ?? 0;
  }
  out[heights.length] = y;
  return out;
}

/** The row at a height: the last one that begins at or above `y`. */
export function rowAt(top: Float64Array, y: number): number {
  const n = top.length - 1;
  if (n <= 0) return 0;
  let low = 0;
  let high = n - 1;
  while (low < high) {
    const mid = (low + high + 1) >> 1;
    if ((top[mid] ?? 0) <= y) low = mid;
    else high = mid - 1;
  }
  return low;
}

/** Rows that a viewport shows, with `overscan` px more on both sides. */
export function visible(top: Float64Array, scroll: number, height: number, overscan: number): Span {
  const n = top.length - 1;
  if (n <= 0) return { first: 0, end: 0, offset: 0 };
  const first = rowAt(top, Math.max(0, scroll - overscan));
  const end = Math.min(n, rowAt(top, scroll + height + overscan) + 1);
  return { first, end, offset: top[first] ?? 0 };
}

/** Where to scroll so that a row is wholly in view; the present place when it already is. */
export function reveal(top: Float64Array, row: number, scroll: number, height: number, head = 0): number {
  const a = top[row] ?? 0;
  const b = top[row + 1] ?? a;
  if (a < scroll + head) return Math.max(0, a - head);
  if (b > scroll + height) return b - height;
  return scroll;
}

/**
 * The last minute of every series on the page, in columns: one row of `Float64Array` per sample, one slot per series, so that a
 * tick writes memory in order and a sparkline reads one stride. Slots are reused after `release`. No DOM here.
 */
export class History {
  /** Samples kept per series. */
  readonly depth: number;
  private data: Float64Array;
  private capacity: number;
  private readonly slots = new Map<string, number>();
  private readonly free: number[] = [];
  private used = 0;
  private head = 0;
  private filled = 0;

  constructor(depth: number, capacity = 64) {
    this.depth = depth;
    this.capacity = capacity;
    this.data = new Float64Array(depth * capacity).fill(Number.NaN);
  }

  get size(): number {
    return this.slots.size;
  }

  /** Number of samples taken so far, at most `depth`. */
  get length(): number {
    return this.filled;
  }

  /** Begins a new sample; every series that is not written in it has a gap there. */
  advance(): void {
    this.head = (this.head + 1) % this.depth;
    this.filled = Math.min(this.depth, this.filled + 1);
    this.data.fill(Number.NaN, this.head * this.capacity, (this.head + 1) * this.capacity);
  }

  write(key: string, value: number): void {
    let slot = this.slots.get(key);
    if (slot === undefined) {
      slot = this.free.pop() ?? this.grow();
      this.slots.set(key, slot);
    }
    this.data[this.head * this.capacity + slot] = value;
  }

  /** Oldest first into `out`, which has `depth` places; gaps are NaN. False when the series is unknown. */
  read(key: string, out: Float64Array): boolean {
    const slot = this.slots.get(key);
    if (slot === undefined) return false;
    for (let i = 0; i < this.depth; i++) {
      const row = (this.head + 1 + i) % this.depth;
      out[i] = this.data[row * this.capacity + slot] ?? Number.NaN;
    }
    return true;
  }

  /** Forgets every series for which `keep` is false. */
  release(keep: (key: string) => boolean): void {
    for (const [key, slot] of this.slots) {
      if (keep(key)) continue;
      this.slots.delete(key);
      this.free.push(slot);
      for (let row = 0; row < this.depth; row++) this.data[row * this.capacity + slot] = Number.NaN;
    }
  }

  clear(): void {
    this.release(() => false);
    this.filled = 0;
  }

  private grow(): number {
    if (this.used === this.capacity) {
      const capacity = this.capacity * 2;
      const data = new Float64Array(this.depth * capacity).fill(Number.NaN);
      for (let row = 0; row < this.depth; row++) {
        data.set(this.data.subarray(row * this.capacity, (row + 1) * this.capacity), row * capacity);
      }
      this.data = data;
      this.capacity = capacity;
    }
    return this.used++;
  }
}

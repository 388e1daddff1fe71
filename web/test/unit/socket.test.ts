import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Frame } from '../../src/link/protocol';
import { Link, type LinkState } from '../../src/link/socket';

/** A socket whose other end is the test. */
class FakeSocket {
  static all: FakeSocket[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((e: { data: unknown }) => void) | null = null;
  onclose: ((e: { code: number }) => void) | null = null;
  readonly sent: Record<string, unknown>[] = [];
  closed = false;
  readonly address: string;

  constructor(address: string) {
    this.address = address;
    FakeSocket.all.push(this);
  }
  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }
  close(): void {
    this.closed = true;
  }
  says(frame: unknown): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }
}

const states: LinkState[] = [];
const renewals: boolean[] = [];
let signedIn = true;

function make(): Link {
  return new Link({
    address: (renew) => {
      renewals.push(renew);
      return signedIn ? Promise.resolve('ws://hub/api/live') : Promise.reject(new Error('no session'));
    },
    onState: (s) => states.push(s),
  });
}

const turn = () => vi.advanceTimersByTimeAsync(0);
const socket = (i: number): FakeSocket => {
  const s = FakeSocket.all[i];
  if (!s) throw new Error(`no socket ${i}`);
  return s;
};

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('WebSocket', FakeSocket);
  FakeSocket.all = [];
  states.length = 0;
  renewals.length = 0;
  signedIn = true;
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('the live link', () => {
  it('opens one socket for many watches and hands each its frames', async () => {
    const link = make();
    const a: Frame[] = [];
    const b: Frame[] = [];
    link.watch('bucket', { topic: 'servers' }, (f) => a.push(f));
    link.watch('bucket', { topic: 'logs', server: 's', app: null }, (f) => b.push(f));
    await turn();
    expect(FakeSocket.all).toHaveLength(1);
    socket(0).onopen?.();
    expect(socket(0).sent).toEqual([
      { op: 'watch', id: 1, bucket: 'bucket', topic: 'servers' },
      { op: 'watch', id: 2, bucket: 'bucket', topic: 'logs', server: 's', app: null },
    ]);
    socket(0).says({ op: 'logs', id: 2, dropped: 0, lines: [] });
    socket(0).says({ op: 'error', id: 1, code: 'forbidden', message: 'no' });
    socket(0).says({ op: 'logs', id: 99, lines: [] });
    socket(0).onmessage?.({ data: 'garbage' });
    socket(0).onmessage?.({ data: new ArrayBuffer(4) });
    expect(a.map((f) => f.op)).toEqual(['error']);
    expect(b.map((f) => f.op)).toEqual(['logs']);
    expect(states).toEqual(['connecting', 'open']);
  });

  it('comes back with all its watches, and says that it was lost', async () => {
    const link = make();
    link.watch('b', { topic: 'servers' }, () => {});
    await turn();
    socket(0).onopen?.();
    socket(0).onclose?.({ code: 1006 });
    expect(states).toEqual(['connecting', 'open', 'lost']);
    await vi.advanceTimersByTimeAsync(500);
    expect(FakeSocket.all).toHaveLength(2);
    socket(1).onopen?.();
    expect(socket(1).sent).toEqual([{ op: 'watch', id: 1, bucket: 'b', topic: 'servers' }]);
    expect(states.at(-1)).toBe('open');
    expect(renewals).toEqual([false, false]);
  });

  it('goes on trying while there is no hub, slower and slower, or at once when told', async () => {
    const link = make();
    link.watch('b', { topic: 'servers' }, () => {});
    await turn();
    for (let i = 0; i < 3; i++) {
      socket(i).onclose?.({ code: 1006 });
      await vi.advanceTimersByTimeAsync(500 * 2 ** i);
      expect(FakeSocket.all).toHaveLength(i + 2);
    }
    socket(3).onclose?.({ code: 1006 });
    link.retryNow();
    await turn();
    expect(FakeSocket.all).toHaveLength(5);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(FakeSocket.all).toHaveLength(5);
  });

  it('asks for a new token when the hub refused the old one, once', async () => {
    const link = make();
    link.watch('b', { topic: 'servers' }, () => {});
    await turn();
    socket(0).onopen?.();
    socket(0).onclose?.({ code: 4401 });
    await turn();
    expect(states).not.toContain('lost');
    socket(1).onopen?.();
    socket(1).says({ op: 'snapshot', id: 1, rev: 1, servers: [] });
    socket(1).onclose?.({ code: 1006 });
    await vi.advanceTimersByTimeAsync(1000);
    expect(renewals).toEqual([false, true, false]);
  });

  it('does not storm a hub that refuses new tokens too', async () => {
    const link = make();
    link.watch('b', { topic: 'servers' }, () => {});
    await turn();
    socket(0).onclose?.({ code: 4401 });
    await turn();
    socket(1).onclose?.({ code: 4401 });
    await turn();
    expect(FakeSocket.all).toHaveLength(2);
    expect(states.at(-1)).toBe('lost');
  });

  it('waits out a session that is gone', async () => {
    const link = make();
    signedIn = false;
    link.watch('b', { topic: 'servers' }, () => {});
    await turn();
    expect(states).toEqual(['connecting', 'lost']);
    signedIn = true;
    await vi.advanceTimersByTimeAsync(500);
    expect(FakeSocket.all).toHaveLength(1);
  });

  it('renews under a new id and ignores what still comes for the old one', async () => {
    const link = make();
    const frames: Frame[] = [];
    const handle = link.watch('b', { topic: 'servers' }, (f) => frames.push(f));
    await turn();
    socket(0).onopen?.();
    handle.renew();
    socket(0).says({ op: 'changes', id: 1, rev: 9, servers: [], gone: [] });
    socket(0).says({ op: 'snapshot', id: 2, rev: 9, servers: [] });
    expect(socket(0).sent.slice(1)).toEqual([
      { op: 'unwatch', id: 1 },
      { op: 'watch', id: 2, bucket: 'b', topic: 'servers' },
    ]);
    expect(frames.map((f) => f.op)).toEqual(['snapshot']);
  });

  it('closes with the last watch and opens again with the next', async () => {
    const link = make();
    const one = link.watch('b', { topic: 'servers' }, () => {});
    const two = link.watch('c', { topic: 'servers' }, () => {});
    await turn();
    socket(0).onopen?.();
    one.close();
    expect(socket(0).closed).toBe(false);
    two.close();
    expect(socket(0).closed).toBe(true);
    expect(states.at(-1)).toBe('idle');
    two.renew();
    link.watch('d', { topic: 'servers' }, () => {});
    await turn();
    expect(FakeSocket.all).toHaveLength(2);
    socket(0).onclose?.({ code: 1000 });
    expect(states.at(-1)).toBe('connecting');
  });

  it('asks a silent hub for a sign of life, and leaves it when none comes', async () => {
    const link = make();
    link.watch('b', { topic: 'servers' }, () => {});
    await turn();
    socket(0).onopen?.();
    await vi.advanceTimersByTimeAsync(26_000);
    expect(socket(0).sent.slice(1)).toContainEqual({ op: 'ping', id: 0 });
    socket(0).says({ op: 'pong', id: 0 });
    await vi.advanceTimersByTimeAsync(30_000);
    expect(FakeSocket.all).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(socket(0).closed).toBe(true);
    expect(FakeSocket.all).toHaveLength(2);
    expect(states.at(-1)).toBe('lost');
  });
});

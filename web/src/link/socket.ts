/**
 * The live socket: one WebSocket for the whole page, watches multiplexed on it by id.
 *
 * It reconnects for ever with growing, jittered pauses and puts every watch back. It knows nothing of the DOM and nothing of
 * what frames mean, beyond their id; the store asks for a new snapshot by `renew` when a revision is missing.
 */
import { type Frame, readFrame } from './protocol';

export type LinkState = 'idle' | 'connecting' | 'open' | 'lost';

export type WatchTopic =
  | { readonly topic: 'servers' }
  | { readonly topic: 'logs'; readonly server: string; readonly app: string | null };

export interface LinkOptions {
  /** Full address with a good token, a new one when `renew` is set; rejects when there is no session. */
  readonly address: (renew: boolean) => Promise<string>;
  readonly onState: (state: LinkState, retryAt: number) => void;
}

interface Watch {
  readonly id: number;
  readonly bucket: string;
  readonly topic: WatchTopic;
  readonly onFrame: (frame: Frame) => void;
}

export interface WatchHandle {
  /** Asks for a fresh snapshot on the same watch. */
  renew(): void;
  close(): void;
}

/** Pause before attempt n (0 = first retry): 0.5 s doubling to 15 s, each shortened at random by up to a half. */
export function backoff(attempt: number, random: number): number {
  const full = Math.min(15_000, 500 * 2 ** Math.min(attempt, 10));
  return Math.round(full * (1 - random / 2));
}

/** After this much silence the server is asked for a sign of life (any frame counts as one) ... */
const ASK_MS = 20_000;
/** ... and after this much the socket is taken for dead. Browsers show no pings of the protocol, so this is ours to find out. */
const DEAD_MS = 40_000;

/** Close code of the hub for a token that is not good any more. */
const UNAUTHORIZED = 4401;

type Phase = 'off' | 'connecting' | 'open' | 'waiting';

export class Link {
  private readonly options: LinkOptions;
  private socket: WebSocket | null = null;
  private readonly watches = new Map<number, Watch>();
  private nextId = 1;
  private attempt = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private heard = 0;
  private watchdog: ReturnType<typeof setInterval> | undefined;
  private generation = 0;
  private refused = false;
  private phase: Phase = 'off';

  constructor(options: LinkOptions) {
    this.options = options;
  }

  watch(bucket: string, topic: WatchTopic, onFrame: (frame: Frame) => void): WatchHandle {
    let watch: Watch = { id: this.nextId++, bucket, topic, onFrame };
    this.watches.set(watch.id, watch);
    this.start(watch);
    return {
      renew: () => {
        if (!this.watches.has(watch.id)) return;
        // A new id, so that frames of the old watch still under way are not mistaken for the new ones.
        this.stop(watch);
        watch = { ...watch, id: this.nextId++ };
        this.watches.set(watch.id, watch);
        this.start(watch);
      },
      close: () => {
        this.stop(watch);
        if (this.watches.size === 0) this.shut();
      },
    };
  }

  /** Tries at once instead of waiting for the pause to end. */
  retryNow(): void {
    if (this.phase === 'waiting') this.connect();
  }

  shut(): void {
    this.generation++;
    clearTimeout(this.timer);
    clearInterval(this.watchdog);
    const socket = this.socket;
    this.socket = null;
    this.phase = 'off';
    this.attempt = 0;
    socket?.close();
    this.options.onState('idle', 0);
  }

  private start(watch: Watch): void {
    if (this.phase === 'open') this.send(watch);
    else if (this.phase === 'off') this.connect();
  }

  private stop(watch: Watch): void {
    if (!this.watches.delete(watch.id)) return;
    if (this.phase === 'open') this.socket?.send(JSON.stringify({ op: 'unwatch', id: watch.id }));
  }

  private send(watch: Watch): void {
    this.socket?.send(JSON.stringify({ op: 'watch', id: watch.id, bucket: watch.bucket, ...watch.topic }));
  }

  private connect(): void {
    clearTimeout(this.timer);
    this.phase = 'connecting';
    const generation = ++this.generation;
    if (this.attempt === 0) this.options.onState('connecting', 0);
    this.options.address(this.refused).then(
      (address) => {
        if (generation === this.generation) this.open(address, generation);
      },
      () => {
        if (generation === this.generation) this.lost();
      },
    );
  }

  private open(address: string, generation: number): void {
    const socket = new WebSocket(address);
    this.socket = socket;
    const current = () => generation === this.generation;
    socket.onopen = () => {
      if (!current()) return;
      this.phase = 'open';
      this.attempt = 0;
      this.heard = Date.now();
      clearInterval(this.watchdog);
      this.watchdog = setInterval(() => {
        const silence = Date.now() - this.heard;
        if (silence > DEAD_MS) this.abandon(socket);
        else if (silence > ASK_MS) socket.send('{"op":"ping","id":0}');
      }, 5_000);
      this.options.onState('open', 0);
      for (const watch of this.watches.values()) this.send(watch);
    };
    socket.onmessage = (event) => {
      if (!current() || typeof event.data !== 'string') return;
      this.heard = Date.now();
      this.refused = false;
      const frame = readFrame(event.data);
      if (frame) this.watches.get(frame.id)?.onFrame(frame);
    };
    socket.onclose = (event) => {
      if (!current()) return;
      const before = this.refused;
      this.refused = event.code === UNAUTHORIZED;
      // Tokens run out while a page is open: the first refusal is answered by a new token at once, unseen.
      if (this.refused && !before) {
        clearInterval(this.watchdog);
        this.socket = null;
        this.connect();
      } else this.lost();
    };
  }

  /** Lets go of a socket without waiting for its close, which may take minutes on a dead network. */
  private abandon(socket: WebSocket): void {
    socket.onclose = null;
    socket.onmessage = null;
    socket.close();
    this.lost();
  }

  private lost(): void {
    this.socket = null;
    this.phase = 'waiting';
    clearInterval(this.watchdog);
    if (this.watches.size === 0) {
      this.shut();
      return;
    }
    const pause = backoff(this.attempt++, Math.random());
    this.options.onState('lost', Date.now() + pause);
    this.timer = setTimeout(() => this.connect(), pause);
  }
}

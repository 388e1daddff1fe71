// A host of its own on one machine: a network namespace that reaches this side by one wire, with a firewall in it.
import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import type { Program } from './manager.ts';

const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };

function run(file: string, args: readonly string[], input = ''): string {
  return execFileSync(file, args, { env, input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'] });
}

let reason: string | undefined;

/** Why no such host can be made here; empty where it can. */
export function noIslands(): string {
  reason ??= look();
  return reason;
}

function look(): string {
  if (process.getuid?.() !== 0) return 'needs root, to make network namespaces';
  try {
    const island = new Island();
    try {
      island.nft('table inet probe\n');
    } finally {
      island.sink();
    }
    return '';
  } catch (error) {
    const said = (error as { stderr?: string }).stderr || String(error);
    return `network namespaces, or nft in one, cannot be made here: ${said.trim()}`;
  }
}

export class Island {
  readonly name: string;
  /** Of this side of the wire; a hub may listen on any port of it. */
  readonly shore: string;
  /** Of the far side. */
  readonly address: string;

  constructor() {
    // Addresses that are set aside for tests of networks (RFC 2544): four for each wire.
    const block = randomInt(1, 1 << 14);
    const part = (n: number) => `198.18.${(block >> 6) & 255}.${((block & 63) << 2) + n}`;
    this.name = `ph${block.toString(16).padStart(4, '0')}`;
    [this.shore, this.address] = [part(1), part(2)];
    run('ip', ['netns', 'add', this.name]);
    try {
      run('ip', ['link', 'add', this.name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', this.name]);
      run('ip', ['addr', 'add', `${this.shore}/30`, 'dev', this.name]);
      run('ip', ['link', 'set', this.name, 'up']);
      for (const words of [
        ['addr', 'add', `${this.address}/30`, 'dev', 'eth0'],
        ['link', 'set', 'eth0', 'up'],
        ['link', 'set', 'lo', 'up'],
      ])
        run('ip', ['-n', this.name, ...words]);
    } catch (error) {
      this.sink();
      throw error;
    }
  }

  private get inside(): readonly string[] {
    return ['ip', 'netns', 'exec', this.name];
  }

  /** The program, on that host. */
  program(program: Program): Program {
    return { ...program, within: ['env', `PATH=${env.PATH}`, ...this.inside, ...(program.within ?? [])] };
  }

  /** What leaves that host, and fits one of these rules of nftables, is dropped from now on; all else gets through. */
  block(...rules: string[]) {
    const lines = [
      'type filter hook output priority 0; policy accept;',
      ...rules.map((rule) => `${rule} drop`),
    ];
    const chain = `chain out {\n${lines.join('\n')}\n}`;
    this.nft(`table inet wall\ndelete table inet wall\ntable inet wall {\n${chain}\n}\n`);
  }

  /** Gives the firewall there a ruleset. */
  nft(ruleset: string) {
    const [file = '', ...args] = [...this.inside, 'nft', '-f', '-'];
    run(file, args, ruleset);
  }

  /** Nothing is blocked any more. */
  open() {
    this.block();
  }

  /** Established TCP connections of that host, as `address:port` of their other end. */
  connections(): string[] {
    const [file = '', ...args] = [...this.inside, 'ss', '-Htn', 'state', 'established'];
    return run(file, args)
      .split('\n')
      .flatMap((line) => line.trim().split(/\s+/)[3] ?? []);
  }

  /** Takes it away. Whoever still runs there has no network. */
  sink() {
    for (const words of [
      ['link', 'del', this.name],
      ['netns', 'del', this.name],
    ]) {
      try {
        run('ip', words);
      } catch {
        // Made only in part; what is there goes.
      }
    }
  }
}

/** The program on a machine that seems to have been booted anew: it reads another boot id from now on. */
export function rebooted(program: Program, bootIdFile: string): Program {
  const mount = `mount --bind ${bootIdFile} /proc/sys/kernel/random/boot_id && exec "$@"`;
  return { ...program, within: ['unshare', '--mount', 'sh', '-c', mount, 'sh', ...(program.within ?? [])] };
}

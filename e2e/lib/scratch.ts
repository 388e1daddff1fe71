// A temporary place for one test file, and the processes that belong to it.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** A new empty folder. Short, since unix socket paths are limited to about 100 bytes. */
export function scratch(): string {
  return mkdtempSync(path.join(tmpdir(), 'ph-'));
}

export function discard(dir: string) {
  rmSync(dir, { recursive: true, force: true });
}

/** Pids of the processes whose environment holds `entry`, such as `PM2_HOME=/tmp/ph-x`. */
export function processesWith(entry: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => environment(pid).includes(entry))
    .map(Number);
}

/** The pid of its parent; 0 once it is gone. Numbers wrap around, so that a child may well have the smaller one. */
export function parentOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return 0;
  }
}

export function alive(pid: number): boolean {
  try {
    // A zombie is dead already: its parent has only not asked yet.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2)[0] !== 'Z';
  } catch {
    return false;
  }
}

function environment(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
  } catch {
    return []; // gone meanwhile, or a kernel thread
  }
}

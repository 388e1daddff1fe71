// The agents that a hub must be good to: ours, and those of the unmodified releases of pm2 from npm.
import path from 'node:path';
import { test as plainTest } from 'vitest';
import { Manager, type Program } from './manager.ts';
import { ourBinary, root } from './under-test.ts';

const npm = (name: string): Program => ({
  path: path.join(root, 'e2e/node_modules', name, 'bin/pm2'),
  node: true,
});

export interface AgentKind {
  kind: string;
  /** For names of servers. */
  short: string;
  program: Program;
  ours: boolean;
}

export const ours: AgentKind = { kind: 'our agent', short: 'ours', program: ourBinary, ours: true };
export const pm2Agents: AgentKind[] = [
  { kind: 'the agent of pm2 5', short: 'pm2-5', program: npm('pm2-5'), ours: false },
  { kind: 'the agent of pm2 6', short: 'pm2-6', program: npm('pm2-6'), ours: false },
  { kind: 'the agent of pm2 7', short: 'pm2-7', program: npm('pm2'), ours: false },
];
/** The agent of the newest pm2. */
export const newest: AgentKind = pm2Agents.at(-1) ?? ours;
export const everyAgent: AgentKind[] = [ours, ...pm2Agents];

/** A test that makes managers, which end with it; fit for running beside others of its file. */
export const test = plainTest.extend<{
  manager: (program: Program, env?: Record<string, string>) => Manager;
}>({
  // biome-ignore lint/correctness/noEmptyPattern: the runner reads what a fixture needs from this pattern
  manager: async ({}, use) => {
    const made: Manager[] = [];
    await use((program, env) => {
      const manager = new Manager(program, env);
      made.push(manager);
      return manager;
    });
    await Promise.all(made.map((manager) => manager.dispose()));
  },
});

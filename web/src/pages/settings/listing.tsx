/** What the tables of the settings have in common: how they are read and read anew, their head, and what stands where nothing does. */
import type { ComponentChildren } from 'preact';
import { useCallback, useEffect, useState } from 'preact/hooks';
import * as api from '../../link/api';
import type { Server } from '../../link/protocol';
import { fleet } from '../../store/live';

const RELOAD_MS = 5_000;

export interface Told<T> {
  /** `null` until it was read once. */
  readonly value: T | null;
  /** Why it could not be read the last time; '' when it could. */
  readonly problem: string;
  readonly reload: () => Promise<void>;
}

/**
 * Something of the hub that is in nobody's live state: read when the page opens, every few seconds, and when `shape` of a server
 * changes.
 */
export function useTold<T>(path: string, read: (answer: unknown) => T, shape: (server: Server) => string): Told<T> {
  // What another bucket told is nothing here.
  const [held, hold] = useState<{ readonly path: string; readonly value: T } | null>(null);
  const [problem, setProblem] = useState('');
  const reload = useCallback(async () => {
    try {
      hold({ path, value: read(await api.get(path)) });
      setProblem('');
    } catch (error) {
      setProblem(error instanceof Error ? error.message : 'The list could not be read.');
    }
  }, [path]);
  const shapes = [...(fleet.value?.servers.values() ?? [])].map((s) => `${s.id}${shape(s)}`).join();
  useEffect(() => void reload(), [reload, shapes]);
  useEffect(() => {
    const timer = setInterval(() => void reload(), RELOAD_MS);
    return () => clearInterval(timer);
  }, [reload]);
  return { value: held?.path === path ? held.value : null, problem, reload };
}

export interface Column {
  readonly head: ComponentChildren;
  /** `num` for figures; `wide` and `roomy` leave when there is little room. */
  readonly kind?: string;
}

interface ListingProps {
  readonly name?: string;
  readonly columns: readonly Column[];
  /** Said in place of rows, if there are none. */
  readonly empty?: string;
  /** The bodies of the table. */
  readonly children: ComponentChildren;
}

export function Listing({ name, columns, empty = '', children }: ListingProps) {
  return (
    <div class="panel box">
      <table class="grid" data-test={name}>
        <thead>
          <tr>
            {columns.map(({ head, kind }, at) => (
              <th key={at} scope="col" class={kind}>
                {head}
              </th>
            ))}
          </tr>
        </thead>
        {children}
        {empty === '' ? null : (
          <tbody>
            <tr>
              <td colSpan={columns.length} class="muted">
                {empty}
              </td>
            </tr>
          </tbody>
        )}
      </table>
    </div>
  );
}

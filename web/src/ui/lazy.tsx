/**
 * Pages arrive when they are opened, or when there is nothing else to do: so they open also while the hub is away. One that did not
 * arrive (the hub is away, or was upgraded meanwhile) is asked for again, and then the whole anew.
 */
import type { ComponentType } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { linkState } from '../store/live';
import { Failure, Skeleton } from './controls';

const loaders: (() => Promise<unknown>)[] = [];

/** Fetches what has not been opened yet. */
export function fetchAll(): void {
  const all = () => {
    // What fails now is asked for when it is opened.
    for (const load of loaders) load().catch(() => {});
  };
  if ('requestIdleCallback' in window) requestIdleCallback(all, { timeout: 3000 });
  else setTimeout(all, 1500);
}

/** Loads the dashboard anew, unless there is no hub that it could come from: then this page is better than none. */
async function anew(): Promise<void> {
  try {
    await fetch(document.baseURI.replace(/#.*$/, ''), { cache: 'no-store' });
  } catch {
    return;
  }
  location.reload();
}

export function lazy<P extends object>(load: () => Promise<ComponentType<P>>): ComponentType<P> {
  let ready: ComponentType<P> | null = null;
  const fetched = async () => {
    ready ??= await load();
  };
  loaders.push(fetched);
  return function Lazy(props: P) {
    const [, set] = useState(0);
    const [error, setError] = useState('');
    const open = async () => {
      try {
        await fetched();
        setError('');
        set((n) => n + 1);
      } catch {
        setError('A part of the dashboard did not arrive. The hub may be away, or was upgraded.');
      }
    };
    const Page = ready;
    // It may have arrived since this was drawn: then it is drawn anew.
    useEffect(() => {
      if (!Page) void open();
    }, []);
    const again = async () => {
      await open();
      if (!ready) await anew();
    };
    // A hub that is back is asked without being told to.
    const isBack = linkState.value === 'open';
    useEffect(() => {
      if (error !== '' && isBack) void open();
    }, [error, isBack]);
    if (error !== '') return <Failure message={error} onRetry={() => void again()} />;
    return Page ? <Page {...props} /> : <Skeleton rows={6} label="Loading the page" />;
  };
}

/** The window of a long list as a hook: the list scrolls, the rows near the viewport are in the page, the rest is empty height. */
import type { RefObject } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { reveal, type Span, visible } from './window';

/** Rendered beyond the viewport on both sides; a new window is made only when the viewport leaves the present one. */
const OVERSCAN = 360;

export interface Windowed {
  readonly span: Span;
  readonly height: number;
  /** Scrolls so far that the row is in view. `head` px at the top are covered by a sticky head. */
  readonly reveal: (row: number, head: number) => void;
}

export function useWindow(scroller: RefObject<HTMLElement | null>, top: Float64Array): Windowed {
  const [, redraw] = useState(0);
  const view = useRef({ scroll: 0, height: 900 });
  const latest = useRef(top);
  latest.current = top;
  const span = visible(top, view.current.scroll, view.current.height, OVERSCAN);
  const shown = useRef(span);
  shown.current = span;

  useLayoutEffect(() => {
    const element = scroller.current;
    if (!element) return;
    const update = () => {
      view.current = { scroll: element.scrollTop, height: element.clientHeight };
      const seen = visible(latest.current, view.current.scroll, view.current.height, 0);
      if (seen.first < shown.current.first || seen.end > shown.current.end) redraw((n) => n + 1);
    };
    update();
    element.addEventListener('scroll', update, { passive: true });
    const observer = new ResizeObserver(update);
    observer.observe(element);
    return () => {
      element.removeEventListener('scroll', update);
      observer.disconnect();
    };
  }, []);

  return {
    span,
    height: top[top.length - 1] ?? 0,
    reveal: (row, head) => {
      const element = scroller.current;
      if (element) element.scrollTop = reveal(latest.current, row, element.scrollTop, element.clientHeight, head);
    },
  };
}

import type { Terminal } from '../terminal.ts';
import {
  driftJson,
  leftOutJson,
  sourceJson,
  sourceText,
  tellApplied,
  tellLeftOut,
  tellNotDone,
} from './shown.ts';
import { faultText } from '../words.ts';
import type { WatchNews } from './watching.ts';

/** Prints what is new of a watch, each with its time: for people, or one JSON value on a line. */
export function watchTeller(
  terminal: Terminal,
  now: () => number,
  isJson: boolean,
): (news: WatchNews) => void {
  return (news) => {
    const at = new Date(now()).toISOString();
    if (isJson) terminal.json({ at, ...jsonOf(news) });
    else tell(terminal, at, news);
  };
}

function tell(terminal: Terminal, at: string, news: WatchNews): void {
  switch (news.kind) {
    case 'looked': {
      const { sides, plan, applied, conflicts } = news.done;
      terminal.prose(`${at}  ${sourceText(sides.source)}`);
      tellLeftOut(terminal, sides.here);
      tellApplied(terminal, applied);
      for (const { message } of conflicts) terminal.complain(message);
      tellNotDone(terminal, plan);
      return;
    }
    case 'fault':
      terminal.complain(`${at}  nothing is applied: ${faultText(news.error)}`);
      return;
    case 'well':
      terminal.prose(`${at}  well again`);
      return;
    case 'unwatched':
      terminal.remark(`${at}  Changes of ${news.path} are not told (${news.why}): it is only looked at.`);
  }
}

function jsonOf(news: WatchNews): object {
  switch (news.kind) {
    case 'looked': {
      const { sides, plan, applied, conflicts } = news.done;
      return {
        kind: 'looked',
        ...sourceJson(sides.source),
        applied,
        conflicts,
        refused: plan.refused.map(driftJson),
        left: plan.left.map(driftJson),
        ...leftOutJson(sides.here),
      };
    }
    case 'fault': {
      const { code, subject, message, place } = news.error;
      return { kind: 'fault', code, subject, message, ...place };
    }
    default:
      return news;
  }
}

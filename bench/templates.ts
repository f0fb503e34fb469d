/** What the learner of path templates finds, misses and confuses, on routes whose raw paths are made up. */
import { learnTemplates } from '../src/learning/index.ts';
import { HARD, HELD_OUT } from './templates/routes.ts';
import { type Score, routesOfGroup, score, total } from './templates/score.ts';
import { haveTrainTicket, NO_TRAIN_TICKET, scaled, trainTicketRoutes } from './templates/train-ticket.ts';
import { random } from './templates/values.ts';

const SEEDS = [1, 2, 3, 4, 5];

type Report = (line: string) => void;

const percent = (part: number, whole: number): string =>
  whole === 0 ? '-' : `${((100 * part) / whole).toFixed(1)} %`;

function row(report: Report, name: string, s: Score): void {
  report(
    `  ${name.padEnd(34)} ${String(s.routes).padStart(6)} ${String(s.learned).padStart(8)} ${percent(s.right, s.learned).padStart(10)} ` +
      `${percent(s.right, s.routes).padStart(8)} ${String(s.wrongMerges.length).padStart(13)}`,
  );
}

const head = '  '.padEnd(37) + 'routes  learned  precision   recall  wrong merges';

function trainTicket(report: Report): void {
  if (!haveTrainTicket) {
    report(NO_TRAIN_TICKET);
    return;
  }
  report(
    `train-ticket: ${SEEDS.length} seeds, routes by service and method, values made up by parameter name`,
  );
  report(head);
  const groups = [...trainTicketRoutes().values()];
  for (const factor of [0.1, 0.25, 1, 10]) {
    const scores = SEEDS.flatMap((seed) => groups.map((routes) => score(scaled(routes, factor), seed)));
    row(report, `${factor} x the recorded calls`, total(scores));
  }
}

function groups(report: Report, name: string, set: Readonly<Record<string, readonly string[]>>): void {
  report(`${name}: ${Object.values(set).flat().length} routes, ${SEEDS.length} seeds`);
  report(head);
  for (const calls of [5, 20, 100, 1000]) {
    const scores = SEEDS.flatMap((seed) =>
      Object.values(set).map((templates) => score(routesOfGroup(templates, calls, seed), seed)),
    );
    row(report, `${calls} paths a route`, total(scores));
  }
}

function speed(report: Report): void {
  const draw = random(7);
  const seen = Array.from({ length: 1_000_000 }, (_, i) => ({
    path: `/shop/${['a', 'b', 'c'][i % 3]}/user-${Math.floor(draw() * 300_000)}/orders/${Math.floor(draw() * 1e9)}`,
    from: `caller${i % 7}`,
    count: 1,
  }));
  const start = performance.now();
  const { templates } = learnTemplates(seen);
  const seconds = (performance.now() - start) / 1000;
  report(`one million distinct paths: ${seconds.toFixed(1)} s, ${templates.length} templates`);
}

/** Prints precision, recall and wrong merges; seeded, so that the same code prints the same tables. */
export async function bench(report: Report): Promise<void> {
  trainTicket(report);
  groups(report, 'hard set', HARD);
  groups(report, 'held-out set', HELD_OUT);
  speed(report);
}

if (import.meta.main) await bench((line) => console.log(line));

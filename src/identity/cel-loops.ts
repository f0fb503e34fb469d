import { celFunc, CelScalar, parse } from '@bufbuild/cel';
import { meter } from './cel-meter.ts';

type Expr = ReturnType<typeof parse>['expr'];

/** No text can hold this name, so no expression can call it. */
const SPEND = '@spend';
/** Called at every turn of a loop. */
export const spendTurn = celFunc(SPEND, [CelScalar.INT], CelScalar.BOOL, (units) =>
  meter.spend(Number(units)),
);
/** Literals, operators and fields of a loop's body that make one more unit of a turn: each takes some 20 ns. */
const PARTS = 16;

/** Makes every turn of every loop spend: a loop ends where its work is used up. */
export function meterLoops(expr: Expr | undefined): void {
  for (const part of partsOf(expr)) meterLoops(part);
  const kind = expr?.exprKind;
  if (kind?.case !== 'comprehensionExpr' || kind.value.loopCondition === undefined) return;
  const { loopStep, loopCondition } = kind.value;
  // What is in the body is worked out at every turn, also where it is no call.
  const units = 1 + Math.floor((countOf(loopStep) + countOf(loopCondition)) / PARTS);
  const guard = parse(`spend(${units}) ? true : false`).expr;
  if (guard?.exprKind.case !== 'callExpr') return;
  const [spend] = guard.exprKind.value.args;
  if (spend?.exprKind.case !== 'callExpr') return;
  spend.exprKind.value.function = SPEND;
  guard.exprKind.value.args[1] = kind.value.loopCondition;
  kind.value.loopCondition = guard;
}

function countOf(expr: Expr | undefined): number {
  return partsOf(expr).reduce((sum, part) => sum + countOf(part), 1);
}

function partsOf(expr: Expr | undefined): readonly (Expr | undefined)[] {
  const kind = expr?.exprKind;
  switch (kind?.case) {
    case 'selectExpr':
      return [kind.value.operand];
    case 'callExpr':
      return [kind.value.target, ...kind.value.args];
    case 'listExpr':
      return kind.value.elements;
    case 'structExpr':
      return kind.value.entries.flatMap(({ keyKind, value }) => [
        keyKind.case === 'mapKey' ? keyKind.value : undefined,
        value,
      ]);
    case 'comprehensionExpr': {
      const { iterRange, accuInit, loopCondition, loopStep, result } = kind.value;
      return [iterRange, accuInit, loopCondition, loopStep, result];
    }
    default:
      return [];
  }
}

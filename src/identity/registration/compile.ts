import { durationOf, InterlockError, parseSpiffeId, type SpiffeId } from '../../access/index.ts';
import { type Expression, parseExpression, type Vocabulary } from '../cel.ts';
import { NODE_VOCABULARY, WORKLOAD_VOCABULARY } from './attributes.ts';
import { parsePieces, type Piece } from './template.ts';
import {
  DEFAULT_DOWNSTREAM_TTL,
  DEFAULT_JWT_TTL,
  DEFAULT_X509_TTL,
  type Downstream,
  type IdentityRule,
} from './types.ts';

/** A rule made ready for one trust domain: expressions parsed, templates taken apart, defaults filled in. */
export interface CompiledRule {
  readonly rule: IdentityRule;
  readonly name: string;
  readonly trustDomain: string;
  readonly selectors: readonly string[];
  readonly when: Expression | undefined;
  readonly nodeSelectors: readonly string[];
  readonly nodeWhen: Expression | undefined;
  /** The pieces of the path, without the leading "/". */
  readonly path: readonly Piece[];
  /** The ID itself, where the path has no variable. */
  readonly spiffeId: SpiffeId | undefined;
  readonly dnsNames: readonly (readonly Piece[])[];
  /** Milliseconds. */
  readonly ttl: number;
  readonly jwtTtl: number;
  readonly hint: string;
  readonly federatesWith: readonly string[];
  readonly authority: string | undefined;
  readonly downstream: Downstream | undefined;
}

/** The rule for one trust domain. Throws `invalid_document` where it names another one, or is not a checked rule. */
export function compileRule(rule: IdentityRule, trustDomain: string): CompiledRule {
  const { name } = rule.metadata;
  const { spec } = rule;
  const refuse = (reason: string) =>
    new InterlockError('invalid_document', name, `rule "${name}": ${reason}`);
  if (spec.federatesWith?.includes(trustDomain) === true)
    throw refuse(`"federatesWith" names ${trustDomain} itself: its own bundle comes anyway`);
  const path = pathPieces(spec.spiffeId, trustDomain, refuse);
  const isFixed = path.every(({ variable }) => variable === undefined);
  const text = `spiffe://${trustDomain}/${path.map(({ before }) => before).join('/')}`;
  return {
    rule,
    name,
    trustDomain,
    selectors: [...new Set(spec.selectors)],
    when: expressionOf(spec.when, WORKLOAD_VOCABULARY, refuse),
    nodeSelectors: [...new Set(spec.nodes?.selectors)],
    nodeWhen: expressionOf(spec.nodes?.when, NODE_VOCABULARY, refuse),
    path,
    spiffeId: isFixed ? parseSpiffeId(text) : undefined,
    dnsNames: [...new Set(spec.dnsNames)].map((dns) => piecesOf(dns, '.', refuse)),
    ttl:
      durationOf(spec.ttl ?? '') ??
      (spec.downstream === undefined ? DEFAULT_X509_TTL : DEFAULT_DOWNSTREAM_TTL),
    jwtTtl: durationOf(spec.jwtTtl ?? '') ?? DEFAULT_JWT_TTL,
    hint: spec.hint ?? '',
    federatesWith: [...new Set(spec.federatesWith)].sort(),
    authority: spec.authority,
    downstream: spec.downstream,
  };
}

type Refuse = (reason: string) => InterlockError;

function pathPieces(spiffeId: string, trustDomain: string, refuse: Refuse): readonly Piece[] {
  const start = `spiffe://${trustDomain}/`;
  if (!spiffeId.startsWith('spiffe://')) return piecesOf(spiffeId.slice(1), '/', refuse);
  if (spiffeId.startsWith(start)) return piecesOf(spiffeId.slice(start.length), '/', refuse);
  throw refuse(`its ID ${spiffeId} is of another trust domain than ${trustDomain}`);
}

function piecesOf(text: string, separator: '/' | '.', refuse: Refuse): readonly Piece[] {
  const parsed = parsePieces(text, separator);
  if (parsed.ok) return parsed.pieces;
  throw refuse(parsed.reason);
}

function expressionOf(
  text: string | undefined,
  vocabulary: Vocabulary,
  refuse: Refuse,
): Expression | undefined {
  if (text === undefined || text.trim() === '') return undefined;
  const parsed = parseExpression(text, vocabulary);
  if (parsed.ok) return parsed.expression;
  throw refuse(`condition: ${parsed.reason}`);
}

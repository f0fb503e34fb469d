import { describe, expect, test } from 'vitest';
import { isInterlockError } from '../../access/index.ts';
import { checkRelationship, type WrittenRelationship } from './index.ts';

describe('a relationship', () => {
  const web = { trustDomain: 'other.example', endpointUrl: 'https://o.example/b', profile: 'https_web' };
  const spiffe = { ...web, profile: 'https_spiffe', endpointSpiffeId: 'spiffe://other.example/server' };
  const cases: readonly (readonly [string, WrittenRelationship, string])[] = [
    ['https_web', web, 'accepted'],
    ['https_spiffe', spiffe, 'accepted'],
    [
      'an endpoint of a third domain',
      { ...spiffe, endpointSpiffeId: 'spiffe://third.example/server' },
      'accepted',
    ],
    ['a port and a query', { ...web, endpointUrl: 'https://o.example:8443/b?x=1' }, 'accepted'],
    ['http', { ...web, endpointUrl: 'http://o.example/b' }, 'invalid_document'],
    ['no URL', { ...web, endpointUrl: 'o.example' }, 'invalid_document'],
    ['a file', { ...web, endpointUrl: 'file:///etc/passwd' }, 'invalid_document'],
    ['a user name', { ...web, endpointUrl: 'https://user@o.example/b' }, 'invalid_document'],
    ['a password', { ...web, endpointUrl: 'https://:secret@o.example/b' }, 'invalid_document'],
    [
      'a URL without end',
      { ...web, endpointUrl: `https://o.example/${'b'.repeat(2048)}` },
      'invalid_document',
    ],
    ['another profile', { ...web, profile: 'http' }, 'invalid_document'],
    ['https_web with a SPIFFE ID', { ...spiffe, profile: 'https_web' }, 'invalid_document'],
    ['https_spiffe without one', { ...web, profile: 'https_spiffe' }, 'invalid_document'],
    ['https_spiffe with what is none', { ...spiffe, endpointSpiffeId: 'server' }, 'invalid_identity'],
    ['no trust domain', { ...web, trustDomain: '' }, 'invalid_identity'],
    ['a SPIFFE ID as trust domain', { ...web, trustDomain: 'spiffe://other.example' }, 'invalid_identity'],
    ['our own trust domain', { ...web, trustDomain: 'example.org' }, 'invalid_document'],
  ];
  test.each(cases)('with %s: %3$s', (_what, written, expected) => {
    let outcome = 'accepted';
    try {
      checkRelationship(written, 'example.org');
    } catch (error) {
      outcome = isInterlockError(error) ? error.code : String(error);
      expect(String(error)).not.toContain('secret');
    }
    expect(outcome).toBe(expected);
  });
});

/** The encodings that a caller takes (RFC 9110, section 12.5.3): those with a weight of 0 are not among them. */
export function acceptedEncodings(header: string | null): ReadonlySet<string> {
  return new Set(
    (header ?? '').split(',').flatMap((part) => {
      // No pattern takes the spaces away: one would try each of thousands of them anew.
      const [name = '', ...params] = part
        .toLowerCase()
        .split(';')
        .map((each) => each.trim());
      return params.some((param) => /^q=0(\.0*)?$/.test(param)) ? [] : [name];
    }),
  );
}

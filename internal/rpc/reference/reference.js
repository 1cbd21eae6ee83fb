// Renders openapi.json. Everything from the document goes in as text.
'use strict';

// el makes an element; children are elements or texts, nothing is left out.
function el(name, attributes, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) e.setAttribute(key, value);
  for (const child of children) if (child !== undefined && child !== null) e.append(child);
  return e;
}

const shell = (s) => `'${s.replaceAll("'", "'\\''")}'`;

function reference(doc) {
  const resolve = (schema) =>
    schema && schema.$ref ? doc.definitions[schema.$ref.replace('#/definitions/', '')] : schema || {};

  function typeName(schema) {
    if (schema.type === 'array') return 'list of ' + typeName(schema.items || {});
    if (schema.$ref) return 'object';
    if (schema.format === 'date-time') return 'time';
    return schema.type || 'any JSON value';
  }

  const row = (name, required, type, text) =>
    el('tr', {}, el('td', {}, name, required ? el('span', { class: 'required' }, ' required') : null),
      el('td', {}, type), el('td', {}, text || ''));

  // rows lists the members of a schema, and theirs below them.
  function rows(schema, prefix, seen) {
    const definition = resolve(schema);
    if (seen.includes(definition)) return [];
    const required = definition.required || [];
    return Object.entries(definition.properties || {}).flatMap(([name, member]) => {
      const inner = member.type === 'array' ? member.items : member;
      const below = inner && inner.$ref ? rows(inner, prefix + name + '.', [...seen, definition]) : [];
      return [row(prefix + name, required.includes(name), typeName(member), member.description), ...below];
    });
  }

  function table(title, list) {
    return list.length === 0 ? [] : [el('h4', {}, title), el('table', {}, el('tbody', {}, ...list))];
  }

  function curl(verb, path, operation) {
    let target = path;
    let body;
    const query = [];
    for (const p of operation.parameters || []) {
      if (p.in === 'path') target = target.replace(`{${p.name}}`, encodeURIComponent(p['x-example']));
      if (p.in === 'query' && p.required) for (const v of [].concat(p['x-example'])) query.push(`${p.name}=${encodeURIComponent(v)}`);
      if (p.in === 'body') body = resolve(p.schema).example;
    }
    if (query.length > 0) target += '?' + query.join('&');
    const method = verb === (body ? 'post' : 'get') ? '' : `-X ${verb.toUpperCase()} `;
    const data = body ? `  -d ${shell(JSON.stringify(body))} \\\n` : '';
    return `curl ${method}-H 'Authorization: Bearer KEY' \\\n${data}  ${shell(location.origin + target)}`;
  }

  function render(verb, path, operation) {
    const parameters = (operation.parameters || []).filter((p) => p.in !== 'body');
    const body = (operation.parameters || []).find((p) => p.in === 'body');
    const ok = operation.responses['200'];
    return el('section', { id: operation.operationId },
      el('h3', {}, el('a', { href: '#' + operation.operationId }, el('span', { class: 'verb' }, verb.toUpperCase()), path)),
      el('p', {}, [operation.summary, operation.description].filter(Boolean).join('\n\n')),
      ...table('In path and query', parameters.map((p) => row(p.name, p.required, typeName(p), p.description))),
      ...table('Body', body ? rows(body.schema, '', []) : []),
      el('pre', {}, curl(verb, path, operation)),
      ...table('Answer', rows(ok.schema, '', [])),
      el('pre', {}, JSON.stringify(ok.examples['application/json'], null, 2)));
  }

  document.getElementById('about').textContent = doc.info.description;
  const main = document.getElementById('reference');
  main.replaceChildren();
  const index = el('ul');
  document.getElementById('index').append(index);
  for (const tag of doc.tags) {
    main.append(el('h2', {}, tag.name), el('p', {}, tag.description));
    for (const [path, verbs] of Object.entries(doc.paths)) {
      for (const [verb, operation] of Object.entries(verbs)) {
        if (!operation.tags.includes(tag.name)) continue;
        main.append(render(verb, path, operation));
        index.append(el('li', {}, el('a', { href: '#' + operation.operationId }, verb.toUpperCase() + ' ' + path)));
      }
    }
  }
  main.append(el('h2', { id: 'errors' }, 'Errors'),
    ...table('Every error has this body', rows({ $ref: '#/definitions/rpcStatus' }, '', [])));
}

fetch('openapi.json')
  .then((response) => response.json())
  .then(reference)
  .catch((err) => { document.getElementById('reference').textContent = 'openapi.json could not be read: ' + err; });

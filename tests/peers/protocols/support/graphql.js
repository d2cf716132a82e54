// What both GraphQL protocols carry.
'use strict';

const {
  GraphQLError, GraphQLInt, GraphQLNonNull, GraphQLObjectType, GraphQLSchema,
} = require('graphql');
const { delay } = require('./socket');

exports.schema = new GraphQLSchema({
  query: new GraphQLObjectType({
    name: 'Query',
    fields: {
      echo: {
        type: GraphQLInt,
        args: { n: { type: new GraphQLNonNull(GraphQLInt) } },
        resolve: async (_, { n }) => {
          await delay();
          return n;
        },
      },
      fail: {
        type: GraphQLInt,
        resolve: () => {
          throw new GraphQLError('as asked');
        },
      },
    },
  }),
});

exports.echo = (n) => ({
  operationName: 'echo',
  query: 'query echo($n: Int!) { echo(n: $n) }',
  variables: { n },
});

exports.fail = { operationName: 'fail', query: 'query fail { fail }' };
